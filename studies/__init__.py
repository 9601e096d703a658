"""Commands that measure the suite itself and write the tables of docs/. They may import everything; only tests import them."""
