"""How functions and apps are described to clients and containers."""

from google.protobuf.message import Message
from modal_proto import api_pb2 as pb

from local_cloud.state import App, Function, State


def app_layout(state: State, app: App) -> pb.AppLayout:
    """Return an app's functions and classes and the objects that they depend on."""
    layout = pb.AppLayout(function_ids=app.function_ids, class_ids=app.class_ids)
    for function_id in app.function_ids.values():
        handle = state.functions[function_id].handle
        layout.objects.append(pb.Object(object_id=function_id, function_handle_metadata=handle))
    for class_id in app.class_ids.values():
        layout.objects.append(pb.Object(object_id=class_id, class_handle_metadata=pb.ClassHandleMetadata()))
    known = {described.object_id for described in layout.objects}
    for function in state.functions.values():
        for needed in function.definition.object_dependencies if function.app is app else ():
            if needed.object_id not in known:
                known.add(needed.object_id)
                layout.objects.append(pb.Object(object_id=needed.object_id))
    return layout


def describe(
    function: Function, source: pb.Function | pb.FunctionPrecreateRequest
) -> pb.FunctionHandleMetadata:
    """Bring the function's handle up to date with its definition, or with what is known before it."""
    handle = function.handle
    handle.function_name, handle.function_type = source.function_name, source.function_type
    handle.definition_id, handle.app_id = f"de-{function.id}", function.app.id
    if source.HasField("function_schema"):
        handle.function_schema.CopyFrom(source.function_schema)
    handle.supported_input_formats[:] = source.supported_input_formats
    handle.supported_output_formats[:] = source.supported_output_formats
    if isinstance(source, pb.Function):
        handle.is_method = source.is_method
        if source.HasField("class_parameter_info"):
            handle.class_parameter_info.CopyFrom(source.class_parameter_info)
    for name, method in source.method_definitions.items():
        described = handle.method_handle_metadata[name]
        described.function_name, described.function_type = method.function_name, method.function_type
        described.is_method, described.use_method_name, described.app_id = True, name, function.app.id
        described.function_schema.CopyFrom(method.function_schema)
        described.supported_input_formats[:] = method.supported_input_formats
        described.supported_output_formats[:] = method.supported_output_formats
    return handle


def function_data(function: Function) -> pb.FunctionData:
    """Return the definition in the form that newer clients read."""
    data = pb.FunctionData()
    names = {one.name for one in pb.FunctionData.DESCRIPTOR.fields} - {"method_definitions"}
    for one, value in function.definition.ListFields():
        if one.name not in names:
            continue
        if one.is_repeated:
            getattr(data, one.name).MergeFrom(value)
        elif isinstance(value, Message):
            getattr(data, one.name).CopyFrom(value)
        else:
            setattr(data, one.name, value)
    for name, method in function.definition.method_definitions.items():
        data.method_definitions[name].CopyFrom(method)
    for rank, variant in enumerate(function.variants or [function.definition]):
        data.ranked_functions.append(pb.FunctionData.RankedFunction(rank=rank, function=variant))
    return data
