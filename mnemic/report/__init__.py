"""What is in a bank, on one page that can be sent, printed and kept: figures in SVG, tables below them, no request."""

from mnemic.report.bank import report

__all__ = ["report"]
