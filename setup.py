"""What pyproject.toml cannot say: the registry in data/ is a part of the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["esm", "esm.*"]), "esm.data"],
    package_dir={"esm.data": "data"},
    package_data={
        "esm": ["py.typed"],
        "esm.data": ["*.toml"],
        "esm.encoder": ["*.md"],
        "esm.scorers.forecasts": ["*.json"],
    },
    py_modules=["esm_transfer"],
)
