"""Honest splits, the audit that proves them, and the scores: tables and numbers in, tables, numbers and figures out."""
