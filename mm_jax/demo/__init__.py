"""The demonstration: five micromotions found, transferred, and measured."""
