"""Tests run steps in their own process, which is set up as an entry point sets it up."""

from pipelines.settings import let_waiting_threads_sleep

let_waiting_threads_sleep()
