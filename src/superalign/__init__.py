"""superalign: how well do we know how aligned a model is? See README.md."""

__version__ = "0.1.0"
