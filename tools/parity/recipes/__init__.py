"""The composition specs that the numbers of fixtures describe."""
