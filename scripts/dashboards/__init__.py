"""The Grafana dashboards: described here, written by build_dashboards.py, drawn by draw_dashboards.py."""
