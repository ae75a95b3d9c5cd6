"""Build the compiled modules; all metadata lives in pyproject.toml.

No cythonize() here: setuptools compiles the .pyx itself, and only so does the source distribution hold it.
"""

import os
import sys

from setuptools import Extension, setup

# What others take from the scanner is declared in its .pxd, which the source distribution has to hold, too.
modules = [
    Extension(f"grove.{name}", [f"grove/{name}.pyx"], depends=["grove/_scan.pxd"]) for name in ("_core", "_scan")
]
for module in modules:
    if sys.platform != "win32":
        module.extra_compile_args = ["-O3", "-g0"]

    # Coverage builds only: makes .pyx lines visible to coverage.py.
    if os.environ.get("GROVE_CYTHON_TRACE"):
        module.cython_directives = {"linetrace": True}
        module.define_macros = [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

    # Builds that look for memory errors, to be run with the sanitizer's runtime preloaded.
    if os.environ.get("GROVE_SANITIZE"):
        sanitizers = f"-fsanitize={os.environ['GROVE_SANITIZE']}"
        module.extra_compile_args = ["-O1", "-g", "-fno-omit-frame-pointer", sanitizers]
        module.extra_link_args = [sanitizers]

setup(ext_modules=modules)
