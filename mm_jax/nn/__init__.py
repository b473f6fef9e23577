"""What the networks share: the base of networks with parameters, IR-SE50, trunk, resizing."""
