"""What all rooms' tests share: pytest's own fixture for testing plugins."""

import os

# Under GitHub Actions every inner session would put its report on the page of the real one.
os.environ.pop("GITHUB_STEP_SUMMARY", None)

pytest_plugins = ["pytester"]
