"""Kafka: producing with acks, consuming with one owner a client, the poll loop, dead letters, topics.

The only home of confluent_kafka; services see the ports of `penstock.kafka.ports` and plain records.
"""
