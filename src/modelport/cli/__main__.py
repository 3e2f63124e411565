"""``python -m modelport.cli`` is the same as ``modelport``."""

from modelport.cli import main

main()
