"""The process that serves the embedded model: llama.cpp's own server, until SIGTERM.

python -m cli.up.embedded.llama_server --model FILE --name NAME --port PORT --parallel N --threads N --context N
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

import click

_LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--model", required=True, help="The GGUF file.")
@click.option("--name", required=True, help="What clients call the model.")
@click.option("--port", type=int, required=True, help="TCP port of the loopback interface.")
@click.option("--parallel", type=int, required=True, help="Answers generated at once.")
@click.option("--threads", type=int, required=True, help="Threads that compute.")
@click.option("--context", type=int, required=True, help="Tokens, of all parallel answers together.")
def serve(*, model: str, name: str, port: int, parallel: int, threads: int, context: int) -> None:
    """Serve one model until SIGTERM or SIGINT."""
    ending = {signal.SIGTERM, signal.SIGINT}
    # Before llama.cpp starts its threads, which inherit the mask: only sigwait below may take them.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    llama = import_module("xllamacpp")
    parameters = llama.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {name}
    parameters.hostnames = [_LOOPBACK]
    parameters.port = port
    parameters.n_parallel = parallel
    parameters.n_ctx = context
    parameters.cpuparams.n_threads = threads
    # No spinning between layers: it would take the CPU from the thread that is waited for.
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
    parameters.ui = False
    server = llama.Server(parameters)
    print(f"serving {name} at {server.listening_address}", flush=True)
    signal.sigwait(ending)
    sys.stdout.flush()
    # There is nothing to save, and llama.cpp's own shutdown waits for answers under way.
    os._exit(0)


if __name__ == "__main__":
    serve()
