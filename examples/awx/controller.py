"""Simulates the jobs of an AWX controller: publishes their notifications to Redis or RabbitMQ, for Channel to deliver.

    python3 controller.py                  repeats jobs 41 and 42
    python3 controller.py --pause 0.05 7   repeats job 7 with short pauses
"""

import argparse
import itertools
import json
import os
import time

if "AMQP_URL" in os.environ:
    import pika

    exchange = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
    exchange.exchange_declare("channel.to", "topic", durable=True)

    def emit_channel_notification(group, payload):
        exchange.basic_publish("channel.to", group.replace("-", ":", 1), json.dumps(payload))

else:
    import redis

    bus = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))

    def emit_channel_notification(group, payload):
        channel, event = group.split("-", 1)
        bus.publish(f"to:{channel}:{event}", json.dumps(payload))


TASKS = ["Gathering Facts", "install packages", "write configuration", "restart service", "wait for port"]
HOSTS = ["web1", "web2", "db1"]


def status(job, name):
    return "jobs-status_changed", {
        "group_name": "jobs",
        "unified_job_id": job,
        "type": "job",
        "status": name,
    }


def run(job):
    """Yields the notifications of one run of a job: pairs of group name and payload."""
    yield status(job, "pending")
    yield status(job, "waiting")
    yield status(job, "running")
    counter = itertools.count(1)
    for task in TASKS:
        for host in HOSTS:
            yield f"job_events-{job}", {
                "group_name": "job_events",
                "job": job,
                "counter": next(counter),
                "event": "runner_on_ok",
                "task": task,
                "host": host,
                "stdout": f"{task}: ok [{host}] (job {job})",
            }
    yield "jobs-summary", {
        "group_name": "jobs",
        "unified_job_id": job,
        "hosts": {host: {"ok": len(TASKS), "failed": 0} for host in HOSTS},
    }
    yield status(job, "successful")


def repeat(job):
    while True:
        yield from run(job)


def main():
    parser = argparse.ArgumentParser(description="Simulates the jobs of an AWX controller.")
    parser.add_argument("jobs", nargs="*", type=int, default=[41, 42], help="job ids (default: 41 42)")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between notifications (default: 0.5)")
    options = parser.parse_args()
    running = [repeat(job) for job in options.jobs]
    print(f"publishing jobs {options.jobs}, stop with Ctrl-C", flush=True)
    while True:
        for job in running:
            emit_channel_notification(*next(job))
        time.sleep(options.pause)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
