"""Asks an engine about a Parquet file, as users would: table.py duckdb|spark FILE SQL. Rows as JSON on stdout."""

import json
import sys

engine, file, sql = sys.argv[1:]
if engine == "duckdb":
    import duckdb

    database = duckdb.connect()
    database.execute(f"create view fleet as select * from '{file}'")
    answer = database.execute(sql)
    names = [column[0] for column in answer.description]
    rows = [dict(zip(names, row)) for row in answer.fetchall()]
else:
    from pyspark.sql import SparkSession

    settings = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    settings = settings.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    spark = settings.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.read.parquet(file).createOrReplaceTempView("fleet")
    rows = [row.asDict(recursive=True) for row in spark.sql(sql).collect()]
    spark.stop()
json.dump(rows, sys.stdout, default=str)
