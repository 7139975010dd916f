"""Reading rows from SQL databases, each by the driver that measured best; knows no Beam."""
