"""Training of the models behind the published tables and of the sample that ships with the package."""
