# SPDX-License-Identifier: Apache-2.0
"""YAML of this project's own files, by PyYAML: that of Debian (python3-yaml) also where another Python runs the tests."""
import sys

try:
    import yaml
except ImportError:
    sys.path.append("/usr/lib/python3/dist-packages")
    import yaml


def load(path):
    with open(path, encoding="utf-8") as f:
        return yaml.safe_load(f)


def load_all(text):
    return [d for d in yaml.safe_load_all(text) if d is not None]
