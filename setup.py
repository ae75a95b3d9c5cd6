"""Build grove._core; all metadata lives in pyproject.toml.

No cythonize() here: setuptools compiles the .pyx itself, and only so does the source distribution hold it.
"""

import os
import sys

from setuptools import Extension, setup

core = Extension("grove._core", ["grove/_core.pyx"])
if sys.platform != "win32":
    core.extra_compile_args = ["-O3", "-g0"]

# Coverage builds only: makes .pyx lines visible to coverage.py.
if os.environ.get("GROVE_CYTHON_TRACE"):
    core.cython_directives = {"linetrace": True}
    core.define_macros = [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

# Builds that look for memory errors, to be run with the sanitizer's runtime preloaded.
if os.environ.get("GROVE_SANITIZE"):
    sanitizers = f"-fsanitize={os.environ['GROVE_SANITIZE']}"
    core.extra_compile_args = ["-O1", "-g", "-fno-omit-frame-pointer", sanitizers]
    core.extra_link_args = [sanitizers]

setup(ext_modules=[core])
