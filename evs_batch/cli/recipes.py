"""`evs-batch recipes`: the ready recipes."""

import json

import typer

app = typer.Typer(invoke_without_command=True, help="The ready recipes; `recipes show R` prints one, resolved.")


@app.callback()
def recipes(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from evs_batch.spec.recipe import recipe_names
        from evs_batch.store.recipes import load_recipe

        for name in recipe_names():
            typer.echo(f"{name:<12} {load_recipe(name).composition}")


@app.command()
def show(
    recipe: str = typer.Argument(help="A ready recipe, a TOML file, or a JSON config of the EVS release."),
    as_toml: bool = typer.Option(False, "--toml", help="As TOML, to be changed and run; default: JSON."),
) -> None:
    """Print a recipe with all its keys."""
    from evs_batch.spec import toml
    from evs_batch.store.recipes import load_recipe

    loaded = load_recipe(recipe).model_dump(mode="json")
    typer.echo(toml.dump(loaded) if as_toml else json.dumps(loaded, indent=2))


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes."""
    from evs_batch.spec.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@app.command("keys")
def show_keys() -> None:
    """Print every key with its default, range, meaning and source, as a Markdown table."""
    from evs_batch.spec import keys

    typer.echo(keys.markdown(), nl=False)
