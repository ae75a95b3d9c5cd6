"""Files for a shipper, in the style of version 1: settings by hand, and `submit()` without the document's name."""

import os
import uuid

from grove.exceptions import AccessException, ConfigurationException
from grove.outputs import BaseOutput


class Handler(BaseOutput):
    def setup(self):
        self.folder = os.environ.get("ACME_SPOOL")
        if not self.folder:
            raise ConfigurationException("ACME_SPOOL is not set.")

    def submit(self, data, connector, identity, operation, part=0, suffix=None):
        """Writes a page, gzip of JSON lines, into the spool."""
        name = f"{connector}-{operation}-{uuid.uuid4().hex}{suffix or '.json.gz'}"
        temporary = os.path.join(self.folder, f"tmp-{name}")
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.rename(temporary, os.path.join(self.folder, name))
        except OSError as err:
            raise AccessException(f"The spool cannot be written: {err}") from err
