"""What a run leaves behind: its folder, its journal, its tables and its reports.

The only room that writes into `runs/`. It judges nothing: metrics, comparisons and verdicts come in
finished and are written down, rounded in the reports only.
"""
