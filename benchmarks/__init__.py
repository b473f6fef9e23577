"""How fast the project is, beside others and beside the machine's limits; see README.md."""
