"""/ui/usage: the usage log, filtered, as a chart, a table and a file; and one request with its story."""
