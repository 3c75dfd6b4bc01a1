{{ config_get("user.meta-data", "")|safe }}
