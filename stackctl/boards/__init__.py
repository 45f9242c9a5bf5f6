"""Dashboards: the house style over grafanalib, rendering to Grafana's JSON, and the proof that every query answers."""
