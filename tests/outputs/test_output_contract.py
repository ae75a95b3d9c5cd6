"""The contract of outputs, kept by each of ours."""

import gzip
import json

import pytest

from grove.helpers import files
from grove.outputs.local_file import Handler as FileOutput
from grove.outputs.local_stdout import Handler as StdoutOutput
from grove.testing.output_contract import OutputContract, StagingOutputContract


class TestLocalFile(StagingOutputContract):
    @pytest.fixture
    def output(self, root, monkeypatch):
        monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(root))
        self.root = root
        return FileOutput()

    def objects(self, output):
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*.json.gz")}

    def take(self, output):
        for path in list(self.root.rglob("*.json.gz")):
            path.unlink()
            path.parent.rmdir()

    def hidden(self, output):
        return [str(path) for path in self.root.rglob("*.tmp")]

    def entries(self, output):
        return [
            json.loads(line) for data in self.objects(output).values() for line in gzip.decompress(data).splitlines()
        ]


class TestLocalFileWithHardLinks(TestLocalFile):
    """Where the kernel or the C library cannot rename without replacing."""

    @pytest.fixture(autouse=True)
    def _no_renameat2(self, monkeypatch):
        monkeypatch.setattr(files, "_renameat2", lambda: None)


class TestLocalFileWithNeither(TestLocalFileWithHardLinks):
    """Where the file system has no hard links either."""

    @pytest.fixture(autouse=True)
    def _no_links(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(files, "_link", refuse)


class TestLocalStdout(OutputContract):
    @pytest.fixture
    def output(self, capfdbinary):
        self.captured = capfdbinary
        return StdoutOutput()

    def entries(self, output):
        lines = self.captured.readouterr().out.split(b"\n")
        assert lines.pop() == b""
        return [json.loads(line)["message"] for line in lines]
