"""The contract's assertions are shown like those of any test."""

import pytest

pytest.register_assert_rewrite("grove.testing.config_contract")
