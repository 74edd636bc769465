"""The search page: a small web application over an open index. Listens on loopback unless told otherwise."""
