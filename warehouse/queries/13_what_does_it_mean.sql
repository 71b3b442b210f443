-- What does each column of facts mean?
SELECT c.column_name, c.comment
FROM duckdb_columns() AS c
WHERE c.table_name = 'facts'
ORDER BY c.column_index;
