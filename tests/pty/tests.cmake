# Sessions at a terminal; see terminal.py.
file(GLOB sessions CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/[a-z]*.py)
list(FILTER sessions EXCLUDE REGEX "/terminal.py$")
foreach(session ${sessions})
    get_filename_component(name ${session} NAME_WE)
    add_test(NAME pty.${name} COMMAND ${session})
    set_tests_properties(pty.${name} PROPERTIES TIMEOUT 300 ENVIRONMENT "DISH=$<TARGET_FILE:dish>")
endforeach()
