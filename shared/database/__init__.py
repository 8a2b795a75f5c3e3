"""The database of questions, answers, ratings and what else people did: its tables and its engine.

Nothing imports this at start-up but the processes and commands that use the database, because
SQLAlchemy takes 0.2 s.
"""
