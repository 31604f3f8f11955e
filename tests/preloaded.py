"""What the forks of `forked.py` find ready: imported by the process that they are forks of, and by no other.

Garbage collections pass over all of it. A fork shares it with its siblings as long as nothing writes to it, which a
collection does, object by object: the first full one copied the whole process, for more than all else of a start.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
from pathlib import Path

import api.__main__
import tests.chaos.counted
import tests.forked
import workers.__main__
import workers.providers
from api.app import create_app
from shared.models.catalogue import default_catalogue
from shared.models.tokenizers import read_vocabulary
from shared.process.threads import prepare_structs
from shared.settings import Settings
from tests.memoized import compile_urls_once
from workers.providers.http.client import trusted

__all__ = ["api", "tests"]

# A worker imports those of its own backends when it starts.
for module in pkgutil.walk_packages(workers.providers.__path__, "workers.providers."):
    if module.name.endswith(".connect"):
        importlib.import_module(module.name)
default_catalogue()
read_vocabulary()
trusted()
compile_urls_once()
create_app(Settings(data_dir=Path("nowhere")))
prepare_structs()
gc.collect()
gc.freeze()
