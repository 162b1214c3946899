"""The build backend that pyproject.toml names: this project runs in its checkout, and `pip install .` says so.

Its commands are `python -m src.train` and the like, and read conf/ and experiments/ beside them. As a package it would
put folders called src, conf and hydra_plugins among everybody else's.
"""

raise SystemExit(
    "late-temporal-modelling is not installed as a package: run it in its checkout. `make setup` installs what it "
    "needs, or `uv pip install -r pyproject.toml`; then `python -m src`."
)
