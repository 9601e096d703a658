"""The night's verdict: a run against its history. What is read (`nights`), judged (`judge`, `attribution`), and said (`show`, `files`)."""
