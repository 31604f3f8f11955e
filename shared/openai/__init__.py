"""OpenAI's wire formats, as clients of the gateway speak them."""
