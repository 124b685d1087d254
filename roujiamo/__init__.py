"""Roujiamo: run unmodified MPI programs on Apache Mesos.

Every process of the product imports this module, the ones inside a Mesos task included, so it holds the version
and nothing that costs time to load.
"""

__version__ = "0.1.0"
