"""PostgreSQL: connections, migrations, statements, keys and accounts."""
