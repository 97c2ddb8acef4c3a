"""Answers to the five problems of the homework, one module a problem.

``recurrence``, ``attention``, ``linear_attention``, ``vit`` and ``sentiment`` answer
the problems; ``data``, ``training``, ``records`` and ``figures`` are what they share.
"""
