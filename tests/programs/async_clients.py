"""A client of asyncio. argv: asyncpg|aiomysql PORT hold|wait. Changes a row; "hold" then sleeps in its transaction."""
import asyncio
import sys

DRIVER, PORT, CASE = sys.argv[1:4]
LOGIN = {"host": "127.0.0.1", "port": int(PORT), "user": "app"}


async def on_postgresql():
    import asyncpg

    connection = await asyncpg.connect(password="apppw", database="shop", **LOGIN)
    await connection.transaction().start()
    print("ready", flush=True)
    await connection.execute("update account set balance = balance - 5 where id = 1")
    await rest()


async def on_mysql():
    import aiomysql

    connection = await aiomysql.connect(password="apppw", db="shop", **LOGIN)
    cursor = await connection.cursor()
    print("ready", flush=True)
    await cursor.execute("update user set balance = balance - 5 where id = 1")
    await rest()


async def rest():
    await asyncio.sleep(1000)


asyncio.run(on_postgresql() if DRIVER == "asyncpg" else on_mysql())
