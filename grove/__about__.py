"""Name, version and licence of the package."""

__version__ = "3.0.0"
__title__ = "grove"
__license__ = "MIT"
__copyright__ = "Copyright (c) Grove contributors"
