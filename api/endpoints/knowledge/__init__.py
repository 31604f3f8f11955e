"""/claw/knowledge: the knowledge base, for nSelf's command line and ours."""
