"""Loads the calibration fixture beside this file: tests here share it."""

import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("report_fixture_ledger", Path(__file__).with_name("fixture_ledger.py"))


@pytest.fixture(scope="session")
def fixture():
    """The module fixture_ledger: ledger(), hostile(), empty()."""
    module = importlib.util.module_from_spec(_SPEC)
    sys.modules[_SPEC.name] = module
    _SPEC.loader.exec_module(module)
    return module
