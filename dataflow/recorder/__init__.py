"""The second dataflow: writes what the streams hold to the database."""
