"""The `reeldex` command: one file per group of commands.

- `main.py`: the command line and its groups, loaded on demand; `command.py`: options and exit statuses of all commands.
- `interrupts.py`: Ctrl-C where Python ignores errors.
- `settings.py`: flags generated from the options models.
- `extraction.py`: `extract` and `rerun`; `store.py`: `status`, `verify`, `export` and `import`.
- `learning.py`: `train` and `evaluate`; `search.py`: `index`, `search`, `page` and `run`.
- `configuration.py`: `config`; `weights.py`: `weights`; `server.py`: `up`.
- `server_choice.py`: whether a command runs as a flow; `page.py`: serves the search page.
- `terminal.py`: text for terminals, and the log.
- `quickstart.py`: the program behind `make run`.
"""
