"""The common language of api and workers: types, wire formats, queue, relay, settings, errors."""
