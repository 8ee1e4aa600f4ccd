"""Doubles of AWS and of Redshift for the tests."""
