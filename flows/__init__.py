"""WHEN and WHETHER a bank is built: Prefect flows. The only folder that imports prefect."""
