"""Threads for the SQL of requests: nothing waits for what takes too long."""

import asyncio
import time

import pytest

from tocsin.errors import InputError
from tocsin.records.sql import own_connection
from tocsin.serve.problems import Problem
from tocsin.serve.sql_threads import MOST_LOST, SqlThreads


def run(coroutine, threads):
    async def whole():
        await asyncio.wait_for(coroutine, 60)
        await threads.close()

    asyncio.run(whole())


def test_calls_are_answered_and_errors_raised():
    threads = SqlThreads()

    async def some():
        assert await asyncio.gather(*(threads.run(lambda n=n: n * n) for n in range(50))) == [n * n for n in range(50)]
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0)

    run(some(), threads)


def test_sql_that_takes_too_long_is_broken_off():
    threads = SqlThreads(limit_s=0.2, grace_s=30)

    def endless():
        own_connection().execute("SELECT pg_sleep(60)").fetchall()

    async def some():
        with pytest.raises(InputError, match="takes longer than"):
            await threads.run(endless)
        assert await threads.run(lambda: 1) == 1

    began = time.monotonic()
    run(some(), threads)
    assert time.monotonic() - began < 30


def test_what_cannot_be_broken_off_is_left_and_others_go_on():
    threads = SqlThreads(2, limit_s=0.05, grace_s=0.05)
    over = []

    def stubborn():
        while not over:
            time.sleep(0.01)

    async def some():
        for _ in range(MOST_LOST):
            with pytest.raises(Problem) as caught:
                await threads.run(stubborn)
            assert caught.value.status_code == 503
        with pytest.raises(Problem):  # enough is lost: refused at once
            await threads.run(lambda: 1)
        over.append(1)
        await asyncio.sleep(0.2)
        assert await threads.run(lambda: 1, records=1000) == 1

    run(some(), threads)


def test_a_request_that_goes_away_takes_its_sql_with_it():
    threads = SqlThreads(1, limit_s=60)

    async def some():
        asked = asyncio.ensure_future(threads.run(lambda: own_connection().execute("SELECT pg_sleep(60)").fetchall()))
        await asyncio.sleep(0.3)
        asked.cancel()
        assert await threads.run(lambda: 1) == 1

    began = time.monotonic()
    run(some(), threads)
    assert time.monotonic() - began < 30
