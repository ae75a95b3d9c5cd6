"""What tests of collectors and plugins need: a practice API, realistic entries, contract suites."""
