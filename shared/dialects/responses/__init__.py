"""OpenAI's Responses API, translated to and from chats and model events. Pure: no I/O, no clock.

Source of the shapes: OpenAI's OpenAPI document, schemas CreateResponse, Response and ResponseStreamEvent.
"""
